"""The built-in page on the operations port: what the server does now, and where requests spent their time."""
