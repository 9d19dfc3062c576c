"""Distillation: a network is trained to answer as a teacher does, and perhaps to come to its answers as it does.

One loss, one file: `soft_targets` and `decoupled` compare answers; `hints`, `attention_transfer`, `hidden_cosine`,
`attention_maps` and `relational` compare what layers give. `pairs` says which layers, `teacher` who teaches.
"""
