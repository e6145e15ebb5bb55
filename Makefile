# The project's commands. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
INVENTORY ?= inventories/quickstart
# Anything for ansible-playbook: make site ARGS="--check --diff"
ARGS ?=

SITE := .venv/site
TEST := .venv/test

help: ## List these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

site: $(SITE) ## Provision and prove the machines of INVENTORY (this machine unless given)
	@$(SITE)/bin/ansible-playbook site.yml -i $(INVENTORY) $(ARGS)

plan: $(SITE) ## Show what site would do, and why, without changing a machine
	@$(SITE)/bin/ansible-playbook playbooks/plan.yml -i $(INVENTORY) $(ARGS)

audit: $(SITE) ## Say where the machines differ from their plan, and fail where one does
	@$(SITE)/bin/ansible-playbook playbooks/audit.yml -i $(INVENTORY) $(ARGS)

bundle: $(SITE) ## Fetch what machines without internet need: ARGS="--system debian-12 --to FOLDER"
	@PYTHONPATH=scripts:.collections $(SITE)/bin/python -m bundle $(ARGS)

test: ## Pass all tests but the long ones
	@tests/run quick

test-all: ## Pass all tests, the long ones included
	@tests/run all

lint: $(TEST) ## Lint alone
	@tests/run lint

lock: $(TEST) ## Resolve every pinned requirement again
	@PATH=$(TEST)/bin:$$PATH scripts/lock

$(SITE) $(TEST): FORCE
	@scripts/environment $@ requirements/$(@F).txt

FORCE:
.PHONY: help site plan audit bundle test test-all lint lock FORCE
