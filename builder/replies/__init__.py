"""Replies as typed dictionaries: every reply is made of them, and the JSON Schema of replies is made from them.

They are for type checkers and for the schema: rooms that answer import them under `TYPE_CHECKING`, and at run time a
reply is a plain `dict`. So they cost a cold start nothing.
"""
