"""Two implementations of D/MIME, one message: what the tool `dime message` says of it and what
dmime_py says.

  worlds.py  the four people of a message, their keys and signets as files
  tool.py    running the tool
  right.py   random descriptions (dmime_py/__init__.py) of messages that are right
  wrong.py   one fault put into such a description
  judge.py   what both say, in the same words, and where they differ
  mails.py   the mail again from what a message holds
"""
