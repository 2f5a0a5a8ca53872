"""Random programs of covered primitives, what must hold for each, and a runner for many.

``program`` says what a program is, as data; ``draw`` draws one from a source of randomness
(Hypothesis's, or a seed's); ``build`` makes it a function with weights and inputs; ``properties``
examines it; ``shrink`` makes a failing one small. The operations stand in tables, by what they do
to relevance: ``contractions``, ``sums``, ``pointwise``, ``routes``, ``joins``. To run many::

    cd tests && python -m random_programs --count 10000 --state random-programs
"""
