"""`python -m app doctor`: walk the layers that can be seen from here, and name the first that is broken."""
