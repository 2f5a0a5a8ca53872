"""The table of Flax's layers in docs/coverage.md: what is explained of each, and how exactly.

``linen_layers`` and ``nnx_layers`` have a small example of every layer that Flax exports; ``table``
makes a row of each. To write the table again::

    cd tests && python -m flax_coverage
"""
