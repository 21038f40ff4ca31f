"""The lab's pages, under /ui: what the JSON API says, made here as HTML for people.

`routers/` has a module a page, `templates/` its HTML, `static/` its script: a small ES module that calls the same
API as everybody, with the cookie of `POST /session`. `rendering` is the frame of every page, `static_files` what pages
load. Nothing comes from another host.
"""
