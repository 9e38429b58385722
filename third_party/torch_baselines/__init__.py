"""PyTorch programs that skinjax is checked against and timed beside; never imported by skinjax."""
