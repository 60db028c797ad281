# Rekindle. `make help` prints the lines below that have a ##.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# What is given on the command line is text. Left alone, make would run a `$(shell …)` in it, and bash what stands in
# backquotes: `make crm SQL='$(shell touch x)'` made the file. So each value is taken as it was typed, and a recipe reads
# it as "$$NAME" from its environment, which no shell parses again.
TEXTS := SOURCE DATE LANDING RETRAIN FROM TO SQL FILE LINE NAME APPLY KIND DIGEST WHY USER ITEM VIEW RUN OUT SIZES GZIP \
	ONLY WRITE N SEED CASE PYTHON REKINDLE_HOME
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
TOLD := $(foreach name,$(TEXTS),$(if $(filter-out undefined,$(origin $(name))),$(name)))
# Before they are overridden: everybody's environment has a USER, which is nobody's customer.
WHO := $(if $(filter USER,$(GIVEN)),$(value USER))
$(foreach name,$(sort $(GIVEN) $(TOLD)),$(eval override $(name) := $$(value $(name))))
SOURCE ?= simulated_shop
REKINDLE_HOME ?= $(CURDIR)/var
export $(TOLD) SOURCE REKINDLE_HOME WHO
JOBS := "$$REKINDLE_HOME"/env/jobs/bin
PY := PYTHONPATH="$$PWD" $(JOBS)/python

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name what; do printf '  make %-18s %s\n' "$$name" "$$what"; done

.PHONY: setup
setup: ## both environments, the lake's jars, secrets, databases (all below var/)
	@bin/setup

.PHONY: nightly
nightly: setup ## the night of DATE (default: newest landed) of SOURCE, through Airflow; LANDING= where its files are; RETRAIN=1
	@$(PY) bin/nightly.py --source "$$SOURCE" $(if $(DATE),--date "$$DATE") $(if $(LANDING),--landing "$$LANDING") $(if $(RETRAIN),--retrain)

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
	@bin/backfill "$$SOURCE" "$$FROM" "$$TO"

.PHONY: crm
crm: ## a query as the CRM's read-only role: make crm SQL="select …"
	@$(PY) -m rekindle.crm "$$SQL"

.PHONY: crm-uri
crm-uri: ## the connection string of the CRM's role
	@$(PY) -m rekindle.crm --uri

.PHONY: report
report: ## writes the report of a kept night anew: SOURCE= DATE= (default: the night published last); RUN=
	@$(PY) jobs/publish/rebuild_report.py --source "$$SOURCE" $(if $(DATE),--date "$$DATE") $(if $(RUN),--run "$$RUN")

.PHONY: export
export: ## a view of the CRM as a CSV file: VIEW= SOURCE=; RUN=<a kept run> OUT=<file> (docs/crm.md)
	@$(PY) -m rekindle.crm_export --view "$$VIEW" --source "$$SOURCE" $(if $(RUN),--run "$$RUN") $(if $(OUT),--out "$$OUT")

.PHONY: crm-writer-uri
crm-writer-uri: ## the connection string of the role by which the CRM writes back
	@$(PY) -m rekindle.crm --uri --writer

.PHONY: show-line
show-line: ## the raw text of a landed line from bronze: FILE=<sha256, or its beginning> LINE=<number>
	@$(PY) -m rekindle.show_line "$$FILE" "$$LINE"

.PHONY: new-source
new-source: ## drafts conf/sources/<NAME>.yaml from one file of a log: FILE=… NAME=… (docs/sources.md)
	@$(PY) jobs/ingest/draft_source.py "$$FILE" $(if $(NAME),"$$NAME")

.PHONY: check-source
check-source: ## tries SOURCE's mapping on the files in LANDING=…: fates, reasons, samples; keeps nothing
	@$(PY) jobs/ingest/check_source.py --source "$$SOURCE" --landing "$$LANDING" --mapping-only
	@bin/spark-submit jobs/ingest/check_source.py --env local --source "$$SOURCE" --landing "$$LANDING"

.PHONY: backtest-expectations
backtest-expectations: ## what each check of drift would have refused of SOURCE's past nights; changes nothing
	@$(PY) jobs/ingest/backtest_expectations.py --source "$$SOURCE"

.PHONY: replay-quarantine
replay-quarantine: ## what SOURCE's mapping, as it is now, would make of a night's quarantined lines: DATE=; APPLY=1 runs that night
	@day=$$($(PY) jobs/ingest/replay_quarantine.py --source "$$SOURCE" $(if $(DATE),--date "$$DATE") --night-only) \
	&& bin/spark-submit jobs/ingest/replay_quarantine.py --env local --source "$$SOURCE" --date "$$day" \
	$(if $(APPLY),&& $(PY) bin/nightly.py --source "$$SOURCE" --date "$$day")

.PHONY: rollback-model
rollback-model: ## an earlier champion serves from the next night on: SOURCE= KIND=recommender|churn DIGEST= (default: the one before) WHY=
	@$(PY) jobs/publish/rollback_model.py --source "$$SOURCE" --kind "$${KIND:-recommender}" $(if $(DIGEST),--digest "$$DIGEST") --why "$$WHY"

.PHONY: rollback
rollback: ## an earlier kept night of SOURCE is served again, at once: RUN=<run_id of crm.publications> WHY=
	@$(PY) jobs/publish/rollback_night.py --source "$$SOURCE" --run "$$RUN" --why "$$WHY"

.PHONY: janitor
janitor: ## removes old, failed and abandoned runs of SOURCE from the warehouse and checks that what is served is what was published
	@$(PY) jobs/publish/sweep_runs.py --source "$$SOURCE"

.PHONY: why
why: ## why ITEM=… is, or is not, in the list of USER=… of the served night: its ranks, and the rule that removed it
	@bin/spark-submit jobs/recommend/explain_item.py --env local --source "$$SOURCE" --user "$$WHO" --item "$$ITEM"

.PHONY: churn-lab
churn-lab: ## compares definitions of "gone" on SOURCE's own history: a page, and the lines for conf; DATE=
	@bin/spark-submit jobs/churn/compare_definitions.py --env local --source "$$SOURCE" $(if $(DATE),--date "$$DATE")

.PHONY: migrate
migrate: ## applies additive contract changes to the warehouse and the lake
	@bin/setup environments
	@$(PY) jobs/publish/prepare_warehouse.py --replace-views

.PHONY: test
test: ## sets up what it needs and runs the whole suite
	@bin/setup dev
	@env -u PYTHONDONTWRITEBYTECODE PYTHONHASHSEED=0 $(JOBS)/python -m pytest -m "not long and not faults" -n 2 --dist loadscope --no-loadscope-reorder

.PHONY: test-long
test-long: ## the slow proofs
	@bin/setup dev
	@env -u PYTHONDONTWRITEBYTECODE PYTHONHASHSEED=0 $(JOBS)/python -m pytest -m long

.PHONY: test-faults
test-faults: ## the publish protocol under faults, 15 minutes: N= random kill points, SEED=; CASE= and ONLY= replay one
	@bin/setup dev
	@FAULT_KILLS="$${N:-200}" FAULT_SEED="$$SEED" FAULT_CASE="$$CASE" $(JOBS)/python -m pytest $(if $(CASE),,-m "not long") "$${ONLY:-tests/faults}"

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
	@$(PY) bench/publication.py

.PHONY: bench-publication
bench-publication: ## five million recommendations into the warehouse: COPY, psql and JDBC side by side, and readers meanwhile (10 minutes)
	@bin/setup dev
	@$(PY) bench/publication.py

.PHONY: bench-als
bench-als: ## implicit ALS and its lists beside Spark ML and implicit, to 11 million pairs and 500,000 users (15 minutes)
	@bin/setup dev
	@$(PY) bench/als.py --whole

.PHONY: bench-ingest
bench-ingest: ## cleaning 1, 3 and 10 million lines beside DuckDB (12 GB of disk); SIZES=, GZIP=1
	@bin/setup dev
	@$(PY) bench/ingest.py --lines "$${SIZES:-1000000,3000000,10000000}" $(if $(GZIP),--gzip)

.PHONY: bench-retention
bench-retention: ## tonight's retention on 1, 10 and 100 million events of history, beside counting everything and DuckDB; SIZES=
	@bin/setup dev
	@$(PY) bench/retention.py $(if $(SIZES),--sizes "$$SIZES")

.PHONY: bench-churn
bench-churn: setup ## the served night of the simulated shop against the simulation's own truth: who has really left
	@$(PY) bench/churn_truth.py

.PHONY: bench-recommenders
bench-recommenders: ## every way to recommend on public shops, beside popularity; ONLY=, WRITE=1 writes docs/recommenders.md
	@bin/setup dev
	@OMP_NUM_THREADS=1 $(PY) bench/recommenders.py $(if $(ONLY),--only "$$ONLY") $(if $(WRITE),--write)

.PHONY: bench-rules
bench-rules: ## what each rule of lists costs or wins in nDCG on three shops; WRITE=1 writes it into docs/recommenders.md
	@bin/setup dev
	@OMP_NUM_THREADS=1 $(PY) bench/list_costs.py $(if $(WRITE),--write)

.PHONY: pins
pins: ## resolves requirements/*.in anew into hashed pins for Python 3.11 to 3.13
	@bin/setup dev
	@bin/pins
