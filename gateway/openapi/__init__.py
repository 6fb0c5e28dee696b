"""The API's description: an OpenAPI 3.1 document and a page, made from the table of routes."""
