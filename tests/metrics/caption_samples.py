"""Captions of three images and what people said of these."""

from __future__ import annotations

HYPOTHESES = ["a dog runs on the mat", "the cat", "two birds sit on a wire"]
REFERENCES = [
    ["a dog runs on a mat", "the dog is running", "a brown dog"],
    ["the cat sleeps", "a cat on the sofa"],
    ["two birds on a wire", "birds sit on the wire", "a wire with two birds", "two small birds"],
]
