"""Lesions on other skin: recolouring, style transfer, and the gate that their images pass."""
