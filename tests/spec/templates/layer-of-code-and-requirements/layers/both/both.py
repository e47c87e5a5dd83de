import idna

NAME = idna.encode("both").decode()
