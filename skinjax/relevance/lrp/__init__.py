"""Layer-wise relevance propagation.

rules       how a linear layer hands its relevance down
composites  which rule acts on which layer
layers      functions whose gradient is a rule
rewriter    a network run with such functions in place of its layers
"""
