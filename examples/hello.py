"""Say hello: curl http://localhost:8042/hello/world."""

from orthanc_async import rest


@rest.get("/hello/{name}")
async def hello(request: rest.Request) -> dict[str, str]:
    """Answer with a greeting."""
    return {"message": f"Hello, {request.path['name']}"}
