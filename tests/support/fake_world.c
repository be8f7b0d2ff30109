#include "fake_world.h"

#include "daemon.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool
fake_world_begin(struct fake_world *w)
{
    char program[4096];

    daemon_program("tests", "fake_p11.so", program);
    if (geteuid() != 0 || access(program, R_OK) != 0)
        return false;
    snprintf(w->top, sizeof w->top, "/tmp/keyd-fake-p11-XXXXXX");
    assert_non_null(mkdtemp(w->top));
    assert_int_equal(chmod(w->top, 0755), 0);
    return true;
}

void
fake_world_end(struct fake_world *w)
{
    assert_true(softhsm_script("rm -rf $1", w->top, ""));
}

void
fake_world_put(const struct fake_world *w, const char *name, const char *file,
               const char *text, mode_t mode)
{
    char path[160], fresh[180];

    snprintf(path, sizeof path, "%s/%s/%s", w->top, name, file);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *f = fopen(fresh, "we");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(fresh, mode), 0);
    assert_int_equal(rename(fresh, path), 0);
}

void
fake_world_token(struct fake_world *w, const char *name, const char *serial,
                 const char *words)
{
    char path[160], text[160];

    snprintf(path, sizeof path, "%s/pin-%s", w->top, name);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(text, sizeof text, "pin-%s", name);
    fake_world_put(w, text, "pin", "2468", 0400);
    snprintf(path, sizeof path, "%s/%s", w->top, name);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(text, sizeof text, "%s %s 2468 %s\n", name, serial, words);
    fake_world_put(w, name, "token", text, 0644);
    fake_world_put(w, name, "keys", "", 0644);
    fake_world_put(w, name, "script", "", 0644);
    snprintf(text, sizeof text, "%u", (unsigned)DAEMON_P11);
    assert_true(softhsm_script("chown $2:$2 $1 $1/keys; chmod 755 $1", path, text));
}

void
fake_world_section(const struct fake_world *w, const char *name, const char *more,
                   char *out, size_t room)
{
    char module[4096];
    size_t at = strlen(out);

    daemon_program("tests", "fake_p11.so", module);
    int n =
        snprintf(out + at, room - at,
                 "token \"%s\" {\n module = \"%s\"\n label = \"%s\"\n"
                 " pin-file = \"%s/pin-%s/pin\"\n paths = { \"%s/%s\" }\n"
                 " profile = pcsc\n environment = { \"FAKE_P11=%s/%s\" }\n%s}\n",
                 name, module, name, w->top, name, w->top, name, w->top, name, more);
    assert_in_range(n, 1, room - at - 1);
}
