"""The Daraja wire protocol, without I/O: typed requests, answers and callbacks, one module for each product."""
