"""Interfaces of other libraries, so that scripts written for them run here; each is imported only when asked for."""
