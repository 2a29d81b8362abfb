"""What is valid: recipes, compile configs, presets and weight folders, and what to say of mistakes.

| question | where |
| --- | --- |
| what do a recipe, a compile config and a preset say? | recipe, compile_yaml/, preset |
| what is in a weight folder, and what does the model need? | checkpoint, geometry, footprint |
| what is wrong with a file, and how is it put right? | lint/ |
| how do editors know? | json_schema |
"""
