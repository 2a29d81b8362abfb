"""A plan as text: the same plan, the same bytes. One kind of file, one module."""
