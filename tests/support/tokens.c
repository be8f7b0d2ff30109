#include "tokens.h"

#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { PATIENCE_MS = 15000, STEP_MS = 20 };

void
tokens_section(const struct softhsm *s, const char *name, const char *selection,
               char *out, size_t room)
{
    size_t at = strlen(out);
    int n =
        snprintf(out + at, room - at,
                 "token \"%s\" {\n module = \"%s\"\n %s\n pin-file = \"%s\"\n"
                 " paths = { \"%s\" }\n environment = { \"%s\" }\n"
                 " timeout = 3000\n max-message = 67108864\n}\n",
                 name, softhsm_module(), selection, s->pin, s->paths, s->environment);

    assert_in_range(n, 1, room - at - 1);
}

bool
tokens_text_is(struct keyd_octets o, const char *text)
{
    return kd_slice_eq(ask_slice(o), kd_slice_str(text));
}

struct keyd_answer *
tokens_list(keyd_client *admin)
{
    struct keyd_answer *a =
        ask(admin, &(struct keyd_request){.op = KEYD_OP_TOKEN_LIST});

    assert_int_equal(a->status, KEYD_OK);
    return a;
}

const struct keyd_token *
tokens_named(const struct keyd_answer *list, const char *name)
{
    for (size_t i = 0; i < list->out.tokens.n_tokens; i++)
        if (tokens_text_is(list->out.tokens.tokens[i].name, name))
            return &list->out.tokens.tokens[i];
    fail_msg("no token %s", name);
    return NULL;
}

int64_t
tokens_become(keyd_client *admin, const char *name, enum keyd_token_state state)
{
    int64_t began = kd_clock_ms();

    for (;;) {
        struct keyd_answer *a = tokens_list(admin);
        const struct keyd_token *t = tokens_named(a, name);
        if (t->state == state) {
            keyd_client_answer_free(a);
            return kd_clock_ms() - began;
        }
        if (kd_clock_ms() - began > PATIENCE_MS)
            fail_msg("%s is %d (%.*s, 0x%llx), not %d", name, (int)t->state,
                     (int)t->finding.n, (const char *)t->finding.p,
                     (unsigned long long)t->module_error, (int)state);
        keyd_client_answer_free(a);
        kd_ignore(poll(NULL, 0, STEP_MS)); /* between two looks */
    }
}

void
tokens_serial(keyd_client *admin, const char *name, char out[17])
{
    int64_t until = kd_clock_ms() + PATIENCE_MS;

    for (out[0] = '\0'; out[0] == '\0';) {
        struct keyd_answer *a = tokens_list(admin);
        const struct keyd_token *t = tokens_named(a, name);
        assert_in_range(t->serial.n, 0, 16);
        if (t->serial.n != 0)
            snprintf(out, 17, "%.*s", (int)t->serial.n, (const char *)t->serial.p);
        keyd_client_answer_free(a);
        if (out[0] == '\0' && kd_clock_ms() > until)
            fail_msg("%s was never seen", name);
        kd_ignore(poll(NULL, 0, out[0] == '\0' ? STEP_MS : 0));
    }
}

void
tokens_adopt(keyd_client *admin, const char *name)
{
    char serial[17];

    tokens_serial(admin, name, serial);
    const struct keyd_request q = {.op = KEYD_OP_TOKEN_ADOPT,
                                   .in.token = {KEYD_STR(name), KEYD_STR(serial)}};
    ask_ends(ask(admin, &q), KEYD_OK, NULL);
    tokens_become(admin, name, KEYD_TOKEN_READY);
}

struct keyd_answer *
tokens_key(keyd_client *admin, const uint8_t id[16], const struct keyd_key **out)
{
    struct keyd_answer *a =
        ask(admin, &(struct keyd_request){.op = KEYD_OP_PUBLIC_KEYS});

    assert_int_equal(a->status, KEYD_OK);
    *out = NULL;
    for (size_t i = 0; i < a->out.keys.n_keys; i++)
        if (memcmp(a->out.keys.keys[i].id.p, id, 16) == 0)
            *out = &a->out.keys.keys[i];
    assert_non_null(*out);
    return a;
}
