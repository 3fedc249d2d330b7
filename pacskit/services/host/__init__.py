"""How one process reaches a station that another process runs: the control channel.

places.py   where the channel is (control.json), the log, the lock of who starts one
system.py   sockets for the owner alone, who is at the other end      log.py   the rotating log
wire.py     lines of JSON, checked                                    plain.py events and errors as JSON
server.py   the owner's end: takes clients, answers, tells            client.py  the other end
outbox.py   what waits for one client, bounded                        spawn.py   a process that outlives us
"""
