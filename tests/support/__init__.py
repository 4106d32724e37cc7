"""What tests share: vectors, keys, frames, a clock, and machines that face each other."""
