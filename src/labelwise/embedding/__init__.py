"""Vectors of images: frozen backbones and the table on disk that keeps what they computed."""
