#include "ledger_world.h"

#include "test.h"

#include <keyd/ledger/audit.h>

#include <sys/stat.h>

void
new_ledger_world(struct ledger_world *w)
{
    const struct daemon_options options = {.sealed = true};

    memset(w, 0, sizeof *w);
    assert_true(daemon_prepare(&w->d, &options));
    w->conf = peer_conf(&w->d);
    assert_int_equal(mkdir(w->conf->state_directory, 0700), 0);
    peer_start(&w->ledger, KD_ROLE_LEDGER, KD_CLASS_ADMIN, &w->d, w->conf);
    peer_join(&w->ledger, &w->vault, KD_LINK_VAULT, 0);
    peer_join(&w->ledger, &w->mta, KD_LINK_GATE, MTA);
    peer_join(&w->ledger, &w->admin, KD_LINK_GATE, ADMIN);
    message_free(link_expect(&w->vault, KD_MSG_ledger_ready));
}

void
end_ledger_world(struct ledger_world *w)
{
    assert_true(peer_lives(&w->ledger));
    link_clear(&w->vault);
    link_clear(&w->mta);
    link_clear(&w->admin);
    assert_int_equal(peer_stop(&w->ledger), 0);
    kd_conf_free(w->conf);
    daemon_clear(&w->d);
}

void
fill_log(struct ledger_world *w)
{
    struct message *greeting = link_expect(&w->vault, KD_MSG_ledger_state);
    struct kd_ledger_state state;
    uint8_t prev[32];

    assert_int_equal(kd_ledger_state_get(greeting->body, &state), KD_OK);
    memcpy(prev, state.hash, sizeof prev);
    for (unsigned i = 1; i <= 200; i++) {
        struct kd_audit_record r = {.epoch = 1,
                                    .seq = i,
                                    .time_ms = 1,
                                    .op = KD_AUDIT_START,
                                    .class = KD_AUDIT_CLASS_SELF,
                                    .principal = kd_slice_str("keyd"),
                                    .n_digests = 3};
        struct kd_commit m = {.row = KD_ROW_NONE};
        struct kd_buf octets;
        memcpy(r.instance, state.instance, sizeof r.instance);
        memcpy(r.prev, prev, sizeof r.prev);
        kd_buf_init(&octets, KD_AUDIT_RECORD_MAX);
        assert_int_equal(kd_audit_encode(&r, &octets), KD_OK);
        kd_audit_hash(kd_buf_slice(&octets), prev);
        m.record = kd_buf_slice(&octets);
        LINK_PUT(&w->vault, commit, &m, -1);
        kd_buf_free(&octets);
    }
    for (unsigned i = 0; i < 200; i++)
        message_free(link_expect(&w->vault, KD_MSG_ack));
    message_free(greeting);
}
