"""One module a page: what it shows is read from the store by the functions that the JSON API uses too."""
