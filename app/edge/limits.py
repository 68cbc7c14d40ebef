"""What one client may take: bytes, counts and seconds."""

from pydantic import Field

from app.setting_groups import Count, Group, Seconds


class EdgeLimits(Group):
    """Limits of one listening port. Sizes are bytes and times are seconds."""

    max_header_bytes: Count = Field(
        16 * 2**10, description="Request line and headers, and a chunked body's trailers; past it 431."
    )
    max_target_bytes: Count = Field(
        8 * 2**10, description="The request line's target (path and query); past it 414."
    )
    max_header_count: Count = Field(100, description="Headers of one request; past it 431.")
    max_body_bytes: Count = Field(
        4 * 2**20, description="A body, both as sent and after decompression; past it 413."
    )
    max_pipelined: Count = Field(
        32, description="Requests that may wait behind another on one connection; past it 429."
    )
    max_connections: Count = Field(
        1024,
        description="Open connections; a new one takes the place of the longest idle one, or else gets 503.",
    )
    header_timeout: Seconds = Field(
        10, description="From connecting, or a later request's first byte, to complete headers; past it 408."
    )
    body_timeout: Seconds = Field(30, description="From the headers to a complete body; past it 408.")
    write_timeout: Seconds = Field(
        30, description="For the client to take what waits to be sent; past it the connection is reset."
    )
    idle_timeout: Seconds = Field(
        75, description="Between two requests of one connection; past it the connection is closed."
    )
    linger: Seconds = Field(
        5,
        description="For a client that is still sending to read a refusal, which a close would hide from it.",
    )
