# Aliases of scripts/dev.py, which works without make.
.PHONY: setup demo test check wheel serve bench
setup demo test check wheel serve bench:
	python3 scripts/dev.py $@
