//! Behaviour of the whole, through its real surfaces.
