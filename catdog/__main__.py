"""`python -m catdog`, where the command is not on the path"""
from catdog.cli import main

if __name__ == '__main__': main()
