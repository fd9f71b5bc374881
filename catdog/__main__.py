"""The `catdog` command, and `python -m catdog`: what is asked in the plainest way is answered without what the other commands need"""
import sys


def main():
    "The entry point of the command."
    from catdog.answers import label_photos, read_plainly
    from catdog.terminal import whole_command
    asked = read_plainly(sys.argv[1:])
    if asked:
        with whole_command(): sys.exit(label_photos(**asked))
    from catdog.cli import main as any_command
    any_command()


if __name__ == '__main__': main()
