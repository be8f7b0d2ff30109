/* keydctl token init, token add-slot, unseal, seal. */
#include "keydctl.h"

#include <unistd.h>

enum { PASSPHRASE_MAX = 1024, CREDENTIAL_MAX = 4096 };

/* --- the secret ---------------------------------------------------------------------
 */

/* From the files named, or asked for. is_new: it is to become a slot's. *made: a file
 * was made for it. secret_free in every case. */
static int
get_secret(const struct options *o, bool is_new, enum keyd_slot_kind *kind,
           struct secret *out, bool *made)
{
    *out = (struct secret){0};
    *made = false;
    *kind = KEYD_SLOT_PASSPHRASE;
    if (o->passphrase_file != NULL)
        return secret_from_file(o->passphrase_file, PASSPHRASE_MAX, true, out);
    if (o->credential_file == NULL)
        return secret_prompt(is_new, out);
    *kind = KEYD_SLOT_CREDENTIAL;
    if (!o->make_new)
        return secret_from_file(o->credential_file, CREDENTIAL_MAX, false, out);
    int status = secret_make_file(o->credential_file, out);
    *made = status == EX_OK;
    return status;
}

static int
check_options(const struct options *o)
{
    if (o->passphrase_file != NULL && o->credential_file != NULL)
        return usage_error("--passphrase-file, --credential-file", "one of the two");
    if (o->make_new && o->credential_file == NULL)
        return usage_error("--new", "goes with --credential-file");
    return EX_OK;
}

/* A credential that opens nothing would be taken for one that does. */
static void
discard_credential(const struct options *o, enum keyd_status status)
{
    if (nothing_was_done(status)) {
        if (unlink(o->credential_file) != 0)
            complain(o->credential_file, "made, opens nothing, and cannot be removed");
    } else {
        complain(o->credential_file, "kept: it may open the keys");
    }
}

/* Sends the secret with one of the three operations. */
static int
send_secret(struct session *s, enum keyd_op op, bool is_new,
            struct keyd_answer **answer)
{
    struct keyd_request q = {.op = op};
    struct secret secret;
    bool made;
    int status = get_secret(s->o, is_new, &q.in.slot.kind, &secret, &made);

    *answer = NULL;
    if (status == EX_OK) {
        q.in.slot.secret = (struct keyd_secret){secret.p, secret.n};
        enum keyd_status said = session_ask(s, &q, answer);
        if (said != KEYD_OK)
            status = session_refused(s, &q, said, *answer);
        if (said != KEYD_OK && made)
            discard_credential(s->o, said);
    }
    secret_free(&secret);
    return status;
}

/* --- verbs that make a slot ---------------------------------------------------------
 */

/* The key that checkpoints are verified with: who notes it down now can check the log
 * later without believing keyd. NULL if it cannot be had. */
static const struct keyd_key *
audit_key(struct session *s, struct key_list *keys)
{
    if (key_list_fetch(s, NULL, keys) != EX_OK)
        return NULL;
    for (size_t i = 0; i < keys->n; i++)
        if (keys->keys[i]->role == KEYD_ROLE_AUDIT)
            return keys->keys[i];
    return NULL;
}

static int
tell_slot(const struct options *o, const struct keyd_answer *a,
          const struct keyd_key *audit)
{
    if (o->json) {
        json_t *j = json_pack("{s:I}", "slot", (json_int_t)a->out.slot.slot);
        if (audit != NULL &&
            !json_put(j, "audit_key", json_base64(slice_of(audit->public_key)))) {
            json_decref(j);
            j = NULL;
        }
        return json_done(j, EX_OK);
    }
    emit(stdout, "slot       %u\n", (unsigned)a->out.slot.slot);
    if (audit != NULL) {
        emit(stdout, "audit key  ");
        print_base64(stdout, slice_of(audit->public_key));
        emit(stdout, "\n");
    }
    return EX_OK;
}

static int
make_slot(const struct options *o, enum keyd_op op)
{
    struct keyd_answer *a = NULL;
    struct key_list keys = {0};
    struct session s = {0};
    int status = check_options(o);

    if (status == EX_OK && (status = session_open(&s, o)) == EX_OK)
        status = send_secret(&s, op, true, &a);
    if (status == EX_OK)
        status =
            tell_slot(o, a, op == KEYD_OP_TOKEN_INIT ? audit_key(&s, &keys) : NULL);
    key_list_free(&keys);
    keyd_client_answer_free(a);
    session_close(&s);
    return status;
}

int
verb_token_init(const struct options *o)
{
    if (o->token.n != 0)
        return token_adopt(o);
    return make_slot(o, KEYD_OP_TOKEN_INIT);
}

int
verb_token_add_slot(const struct options *o)
{
    return make_slot(o, KEYD_OP_ADD_UNSEAL_SLOT);
}

/* --- seal and unseal ----------------------------------------------------------------
 */

static int
tell_state(const struct options *o, const struct keyd_answer *a)
{
    const char *state = state_text(a->out.slot.state);

    if (o->json)
        return json_done(json_pack("{s:s, s:I}", "state", state, "shares_missing",
                                   (json_int_t)a->out.slot.shares_missing),
                         EX_OK);
    emit(stdout, "%s\n", state);
    if (a->out.slot.shares_missing != 0)
        emit(stdout, "%u more shares\n", (unsigned)a->out.slot.shares_missing);
    return EX_OK;
}

int
verb_unseal(const struct options *o)
{
    struct keyd_answer *a = NULL;
    struct session s = {0};
    int status = check_options(o);

    if (status == EX_OK && (status = session_open(&s, o)) == EX_OK)
        status = send_secret(&s, KEYD_OP_UNSEAL, false, &a);
    if (status == EX_OK)
        status = tell_state(o, a);
    keyd_client_answer_free(a);
    session_close(&s);
    return status;
}

int
verb_seal(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_SEAL};
    struct keyd_answer *a = NULL;
    int status = session_once(o, &q, &a);

    if (status == EX_OK)
        status = tell_state(o, a);
    keyd_client_answer_free(a);
    return status;
}
