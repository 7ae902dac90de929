"""How stacks of models are trained."""
