# Aliases; everything is in scripts/dev.py, which needs no make.
.PHONY: setup demo test check serve bench
setup demo test check serve bench:
	python3 scripts/dev.py $@
