"""A process that does nothing but take a CPU: ``python -m netns.hog``."""

if __name__ == "__main__":
    while True:
        pass
