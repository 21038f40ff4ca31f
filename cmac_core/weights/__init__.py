"""Encoders from and for elsewhere: files of weights, how others name their tensors, our own export."""
