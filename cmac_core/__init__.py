"""CMAC, the science: specs, data, models, objectives, training and evaluation. Knows of no service."""
