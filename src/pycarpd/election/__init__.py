"""The rules: who may be master. Pure: no clock, socket, log or randomness but what is passed in."""
