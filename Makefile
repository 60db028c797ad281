# Rekindle. `make help` prints the lines below that have a ##.
SHELL := /bin/bash
.DEFAULT_GOAL := help
SOURCE ?= simulated_shop
REKINDLE_HOME ?= $(CURDIR)/var
export REKINDLE_HOME
ifdef PYTHON
export PYTHON
endif
JOBS := $(REKINDLE_HOME)/env/jobs/bin
PY := PYTHONPATH=$(CURDIR) $(JOBS)/python

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name what; do printf '  make %-18s %s\n' "$$name" "$$what"; done

.PHONY: setup
setup: ## both environments, the lake's jars, secrets, databases (all below var/)
	@bin/setup

.PHONY: nightly
nightly: setup ## the night of DATE (default: newest landed) of SOURCE, through Airflow; LANDING= where its files are; RETRAIN=1
	@$(PY) bin/nightly.py --source "$(SOURCE)" $(if $(DATE),--date "$(DATE)") $(if $(LANDING),--landing "$(LANDING)") $(if $(RETRAIN),--retrain)

.PHONY: next-night
next-night: setup ## lands and runs the day after the last landed one (simulated shop)
	@$(PY) bin/nightly.py --source simulated_shop --next

.PHONY: up
up: setup ## starts the Airflow UI and scheduler and the MLflow UI; prints address, user and password
	@bin/up

.PHONY: down
down: ## stops what `make up` started, and the embedded PostgreSQL
	@bin/down
	@[ ! -x $(JOBS)/python ] || $(PY) -m rekindle.embedded stop

.PHONY: backfill
backfill: ## Airflow's own backfill of the days FROM=… TO=… (both included; needs make up)
	@bin/backfill "$(SOURCE)" "$(FROM)" "$(TO)"

.PHONY: crm
crm: ## a query as the CRM's read-only role: make crm SQL="select …"
	@$(PY) -m rekindle.crm "$$SQL"
crm: export SQL := $(value SQL)

.PHONY: crm-uri
crm-uri: ## the connection string of the CRM's role
	@$(PY) -m rekindle.crm --uri

.PHONY: show-line
show-line: ## the raw text of a landed line from bronze: FILE=<sha256, or its beginning> LINE=<number>
	@$(PY) -m rekindle.show_line "$(FILE)" "$(LINE)"

.PHONY: new-source
new-source: ## drafts conf/sources/<NAME>.yaml from one file of a log: FILE=… NAME=… (docs/sources.md)
	@$(PY) jobs/ingest/draft_source.py "$(FILE)" $(if $(NAME),"$(NAME)")

.PHONY: check-source
check-source: ## tries SOURCE's mapping on the files in LANDING=…: fates, reasons, samples; keeps nothing
	@$(PY) jobs/ingest/check_source.py --source "$(SOURCE)" --landing "$(LANDING)" --mapping-only
	@bin/spark-submit jobs/ingest/check_source.py --env local --source "$(SOURCE)" --landing "$(LANDING)"

.PHONY: backtest-expectations
backtest-expectations: ## what each check of drift would have refused of SOURCE's past nights; changes nothing
	@$(PY) jobs/ingest/backtest_expectations.py --source "$(SOURCE)"

.PHONY: replay-quarantine
replay-quarantine: ## what SOURCE's mapping, as it is now, would make of a night's quarantined lines: DATE=; APPLY=1 runs that night
	@day=$$($(PY) jobs/ingest/replay_quarantine.py --source "$(SOURCE)" $(if $(DATE),--date "$(DATE)") --night-only) \
	&& bin/spark-submit jobs/ingest/replay_quarantine.py --env local --source "$(SOURCE)" --date "$$day" \
	$(if $(APPLY),&& $(PY) bin/nightly.py --source "$(SOURCE)" --date "$$day")

.PHONY: rollback-model
rollback-model: KIND ?= recommender
rollback-model: ## an earlier champion serves from the next night on: SOURCE= KIND=recommender|churn DIGEST= (default: the one before) WHY=
	@$(PY) jobs/publish/rollback_model.py --source "$(SOURCE)" --kind "$(KIND)" $(if $(DIGEST),--digest "$(DIGEST)") --why "$$WHY"
rollback-model: export WHY := $(value WHY)

.PHONY: why
why: ## why ITEM=… is, or is not, in the list of USER=… of the served night: its ranks, and the rule that removed it
	@bin/spark-submit jobs/recommend/explain_item.py --env local --source "$(SOURCE)" --user "$$WHO" --item "$$WHAT"
why: export WHO := $(if $(findstring command,$(origin USER)),$(value USER))
why: export WHAT := $(value ITEM)

.PHONY: churn-lab
churn-lab: ## compares definitions of "gone" on SOURCE's own history: a page, and the lines for conf; DATE=
	@bin/spark-submit jobs/churn/compare_definitions.py --env local --source "$(SOURCE)" $(if $(DATE),--date "$(DATE)")

.PHONY: migrate
migrate: ## applies additive contract changes to the warehouse and the lake
	@bin/setup environments
	@$(PY) jobs/publish/prepare_warehouse.py --replace-views

.PHONY: test
test: ## sets up what it needs and runs the whole suite
	@bin/setup dev
	@env -u PYTHONDONTWRITEBYTECODE PYTHONHASHSEED=0 $(JOBS)/python -m pytest -m "not long" -n 2 --dist loadscope --no-loadscope-reorder

.PHONY: test-long
test-long: ## the slow proofs
	@bin/setup dev
	@env -u PYTHONDONTWRITEBYTECODE PYTHONHASHSEED=0 $(JOBS)/python -m pytest -m long

.PHONY: test-cluster
test-cluster: ## a night on a real standalone Spark cluster; drivers, executors and a worker killed in the middle (25 minutes)
	@bin/setup dev
	@env -u PYTHONDONTWRITEBYTECODE PYTHONHASHSEED=0 $(JOBS)/python -m pytest -m long -rP tests/cluster

.PHONY: check
check: ## ruff, mypy strict, generated docs fresh (import rules are part of make test too)
	@bin/setup dev
	@$(JOBS)/ruff check .
	@$(JOBS)/ruff format --check .
	@$(JOBS)/mypy
	@$(JOBS)/python -m pytest -q --durations=0 tests/test_layers.py tests/test_docs.py

.PHONY: docs
docs: ## writes docs/tables from schemas/
	@bin/setup dev
	@$(PY) jobs/publish/write_docs.py

.PHONY: bench
bench: ## the benchmarks, side by side with their references, as ratios
	@bin/setup dev
	@$(PY) bench/run.py
	@$(PY) bench/ingest.py --lines 1000000
	@$(PY) bench/als.py
	@$(PY) bench/buyers.py

.PHONY: bench-als
bench-als: ## implicit ALS and its lists beside Spark ML and implicit, to 11 million pairs and 500,000 users (15 minutes)
	@bin/setup dev
	@$(PY) bench/als.py --whole

.PHONY: bench-ingest
bench-ingest: SIZES ?= 1000000,3000000,10000000
bench-ingest: ## cleaning 1, 3 and 10 million lines beside DuckDB (12 GB of disk); SIZES=, GZIP=1
	@bin/setup dev
	@$(PY) bench/ingest.py --lines "$(SIZES)" $(if $(GZIP),--gzip)

.PHONY: bench-churn
bench-churn: setup ## the served night of the simulated shop against the simulation's own truth: who has really left
	@$(PY) bench/churn_truth.py

.PHONY: bench-recommenders
bench-recommenders: ## every way to recommend on public shops, beside popularity; ONLY=, WRITE=1 writes docs/recommenders.md
	@bin/setup dev
	@OMP_NUM_THREADS=1 $(PY) bench/recommenders.py $(if $(ONLY),--only $(ONLY)) $(if $(WRITE),--write)

.PHONY: bench-rules
bench-rules: ## what each rule of lists costs or wins in nDCG on three shops; WRITE=1 writes it into docs/recommenders.md
	@bin/setup dev
	@OMP_NUM_THREADS=1 $(PY) bench/list_costs.py $(if $(WRITE),--write)

.PHONY: pins
pins: ## resolves requirements/*.in anew into hashed pins for Python 3.11 to 3.13
	@bin/setup dev
	@bin/pins
