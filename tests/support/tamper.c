#include "tamper.h"

#include "registry.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRIGGERS_MAX = 80 };

static void
run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return;
    fprintf(stderr, "tamper: %s: %s\n", sql, sqlite3_errmsg(db));
    abort();
}

void
tamper(const char *path, const char *sql)
{
    char *names[TRIGGERS_MAX], *texts[TRIGGERS_MAX];
    sqlite3 *db;
    sqlite3_stmt *st;
    int n = 0;

    reg_must(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
    reg_must(sqlite3_prepare_v2(
                 db, "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'", -1,
                 &st, NULL) == SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW) {
        reg_must(n < TRIGGERS_MAX);
        names[n] = sqlite3_mprintf("DROP TRIGGER %s", sqlite3_column_text(st, 0));
        texts[n++] = sqlite3_mprintf("%s", sqlite3_column_text(st, 1));
    }
    reg_must(sqlite3_finalize(st) == SQLITE_OK && n > 10);
    run(db, "BEGIN");
    for (int i = 0; i < n; i++)
        run(db, names[i]);
    run(db, sql);
    for (int i = 0; i < n; i++) {
        run(db, texts[i]);
        sqlite3_free(names[i]);
        sqlite3_free(texts[i]);
    }
    run(db, "COMMIT");
    reg_must(sqlite3_close(db) == SQLITE_OK);
}
