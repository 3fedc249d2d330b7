"""Associations served by processes of our own: one Python process uses one core (`listener.workers`).

The owner of the archive accepts, decides and keeps the limits as ever (accept.py, listener.py); an
association that may store is then handed to a worker, socket and all. The worker speaks with the peer, writes
the part files and reads their headers; the owner gives each instance its place before the peer hears success.

pool.py      the workers of a listener: the least busy one, a new one where one died
process.py   one worker, as the owner sees it      served.py   one of its associations, as the owner sees it
child.py     the worker itself                     wire.py     what goes to and fro
"""
