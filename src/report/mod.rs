//! Plans and outcomes as text. Pure: no I/O, no clock.
