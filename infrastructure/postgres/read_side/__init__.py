"""Read side: the modules here only answer questions of the API, the console and the command line.

The rest of `infrastructure.postgres` stores facts and work, and never depends on an answer.
"""
