"""Texts that would do something if anything took them for more than a text; `{canary}` is a file they try to make."""

from __future__ import annotations

from collections.abc import Sequence

# What a shell, make, Python or Jinja might run (F107).
COMMANDS = (
    *("$(touch {canary})", "`touch {canary}`", "$(shell touch {canary})", "${IFS}$(touch${IFS}{canary})"),
    *("; touch {canary}", '"; touch {canary}; "', "'; touch {canary}; '", "a && touch {canary}", "a || touch {canary}"),
    *("| touch {canary}", "& touch {canary} &", "\n touch {canary}\n", "a\ntouch {canary}", "\\\ntouch {canary}"),
    *('"$(touch {canary})"', "'$(touch {canary})'", '"`touch {canary}`"', "<(touch {canary})", "> {canary}"),
    *(">> {canary}", "2> {canary}", "x; > {canary}", "$((a[$(touch {canary})]))", "a[$(touch {canary})]"),
    *("${x:-$(touch {canary})}", "${x@P}$(touch {canary})", "$'\\x3btouch {canary}'", "!!; touch {canary}"),
    *("(touch {canary})", "{ touch {canary}; }", "x)touch {canary};;", "# \ntouch {canary}", "~; touch {canary}"),
    *("$(file >{canary})", "$(eval $(shell touch {canary}))", "$(call x,$(shell touch {canary}))"),
    *("$$(touch {canary})", "$$$(shell touch {canary})"),
    *("$(value SHELL)$(shell touch {canary})", "${shell touch {canary}}", "a := $(shell touch {canary})"),
    "{{ cycler.__init__.__globals__.os.system('touch {canary}') }}",
    "{{ self.__init__.__globals__.__builtins__.open('{canary}', 'w') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ lipsum.__globals__.os.popen('touch {canary}') }}",
    "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "{{ macros.datetime }}{{ params.source }}",
    "{# {canary} #}{{ 7 * 7 }}",
    "{{ var.value.get('x') }}{{ conn.postgres.password }}",
    "__import__('os').system('touch {canary}')",
    "exec(\"open('{canary}', 'w')\")",
    "${jndi:ldap://127.0.0.1/a}",
    "%(touch {canary})s%n%s",
    "--conf=spark.driver.extraJavaOptions=-Dx=$(touch {canary})",
    "--master local; touch {canary}",
    "-c open('{canary}','w')",
    "@{canary}",
)  # fmt: skip

# What a date, a source, a run id or a file's name must not be (F108).
PATHS = (
    *("../x", "../../x", "../../../../../../../../etc/passwd", "..", ".", "./", "", " ", "/", "//", "/etc/passwd"),
    *("/var/x", "~", "~root", "~/x", "..\\x", "..\\..\\x", "C:\\x", "\\\\host\\share", "C:/x", "file:/etc/passwd"),
    *("file:///etc/passwd", "%2e%2e", "%2e%2e%2f%2e%2e%2fx", "..%2fx", "%2e%2e/x", "..%252fx", "%c0%ae%c0%ae/x"),
    *("..%c0%afx", "..;/x", "....//x", "..././x", "x/../../y", "a/b", "a\\b", "a/", "/a", "a/.", ".a", "a.", "a "),
    *("\0", "a\0", "a\0.csv", "a\0/../x", "a\nb", "a\rb", "a\tb", "\n../x", "a\n", "2026-04-30\n", "2026-04-30\0"),
    *("2026-04-30/..", "../2026-04-30", "2026-04-30/../../x", "2026-04-3０", "\u2026/x", "\uff0e\uff0e/x", "․․/x"),
    *("a" * 300, "../" * 100, "x" * 5_000, "2026-04-30" + "0" * 290, "r" + "0" * 300, "r0123456789abcde/"),
    *("r0123456789abcdef\n", "R0123456789ABCDEF", "r0123456789abcdefg", "../r0123456789abcdef", "CON", "nul", "*", "?"),
    *("simulated_shop/../x", "simulated_shop\n", "simulated_shop\0", " simulated_shop", "simulated_shop.yaml"),
)  # fmt: skip

# What a name in SQL must not be (F105).
IDENTIFIERS = (
    *('recs"; --', "recs'; --", "recs; DROP TABLE serve.lists", 'recs" CASCADE; --', "recs\n", "recs\0", "\nrecs"),
    *("recs ", " recs", "re cs", "recs--", "recs/*", "*/recs", "recs\\", "`recs`", "[recs]", '"recs"', "'recs'"),
    *("$recs", "recs$", "$$", "%s", "%(x)s", "{recs}", "{{ recs }}", "recs.lists", "crm.recs", "recs,other"),
    *("recs=1", "recs=1 user=owner", "postgresql://x/y", "recs?sslmode=disable", "recs(1)", "recs)", "(SELECT 1)"),
    *("RECS", "Recs", "rEcs", "1recs", "-recs", "+recs", "recs-1", "récs", "ｒｅｃｓ", "recs\u200b", "\ufeffrecs"),
    *("r" * 64, "r" * 300, "", " ", "\t", "recs\ttwo", "recs;", "recs|x", "recs&x", "recs@x", "recs#x", "recs:x"),
)  # fmt: skip

_STATEMENTS = (
    "DROP TABLE serve.lists CASCADE",
    "DROP SCHEMA crm CASCADE",
    "TRUNCATE serve.lists, serve.weeks",
    "DELETE FROM vault.user_keys",
    "UPDATE serve.pointers SET run_id = NULL",
    "UPDATE ops.runs SET status = 'failed'",
    "CREATE TABLE serve.canary (n int)",
    "CREATE ROLE canary SUPERUSER LOGIN",
    "ALTER ROLE crm_reader SUPERUSER",
    "GRANT ALL ON ALL TABLES IN SCHEMA vault TO PUBLIC",
    "COPY (SELECT 1) TO PROGRAM 'touch {canary}'",
    "COPY vault.user_keys TO '{canary}'",
    "SELECT lo_export(1, '{canary}')",
    "CREATE FUNCTION crm.canary() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "SET SESSION AUTHORIZATION owner",
    "COMMIT",
)
_FRAMES = (
    "{}",
    "'; {}; --",
    '"; {}; --',
    "'); {}; --",
    "\\'; {}; --",
    "$$; {}; $$",
    "*/ {}; /*",
    "'||({})||'",
    '\n\\.\n{};\n',
    '{"a","{}"}',
    "' UNION {} --",
    "\u02bc; {}; --",
)  # fmt: skip
_PIECES = (
    *("\\.", "\\N", "\\\\N", "\\", "\\n", "\\'", "'", "''", '"', '""', '","', "\n", "\r", "\r\n", "\t", ",", ";", "{}"),
    *("NULL", "null", "%s", "%%", "%(x)s", "%n", "{0}", "{x}", "{", "}", '{"', "$1", ":x", "?", "--", "/*", "*/"),
    *("a\n\\.\nb", '"\n"', "\x1f", "\x1e", "\\u", "\\e", "\x7f", "\u2028", "\ufeff", "\ufffd", "😀", "\u202ex"),
    *("x" * 10_000, "'" * 1_000, " ", "  a  ", "TRUE", "1e999", "NaN", "-0", "0x1F", "2026-02-30", "<script>", "&lt;"),
)  # fmt: skip


def statements() -> Sequence[str]:
    """SQL as the texts of a shop's log: each statement in each frame that might close a literal, and odd pieces."""
    return [*(frame.replace("{}", one) for one in _STATEMENTS for frame in _FRAMES), *_PIECES]


def aimed(texts: Sequence[str], canary: str) -> list[str]:
    """The texts with the canary's path filled in, each once."""
    return list(dict.fromkeys(text.replace("{canary}", canary) for text in texts))
