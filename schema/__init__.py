"""What is valid: recipes, compile configs, weight folders, and what to say where they are not.

| question | files |
| --- | --- |
| what does a recipe say? | recipe, model, precision, target, calibration, environment, ... |
| what did older recipes say? | migration |
| what does a compile config say? | vamc, vamc_frontend, vamc_backend, vamc_dataset, vamc_graph |
| what does a preset say? | preset |
| where does a value stand in the text? | reader, tree, document |
| what is wrong with its form? | structure, walk, placement, suggestions |
| what was meant by a value of another kind? | conversion |
| which one mistake is behind many? | recovery, changes, break_off, verdict, readable |
| what is left over in a text, or slipped into it? | slips, debris |
| what is wrong with its meaning? | rules/, which look at a subject, a group, or weight files |
| what is checked, and what comes of it? | sources, check, diagnostics, edits, repair |
| how is it told? | render, printable, sarif, rules_page, json_schema |
| what is a weight folder, and what does it need? | weights, architecture, footprint |
| do these packages go together? | pins, compatibility |
| what do these calibration texts hold? | rows, texts |
"""
