#include "fault_suite.h"

#include "people.h"

#include <stdio.h>

struct faults faults;
struct daemon keyd;
uint8_t audit_key[32];
char acks_path[160];

int
fault_suite_start(void **state)
{
    static struct daemon_options options;

    (void)state;
    if (!fault_setup(&faults, &options) || !daemon_start(&keyd, &options) ||
        !daemon_provision(&keyd, NULL))
        return -1;
    fault_audit_key(&keyd, audit_key);
    snprintf(acks_path, sizeof acks_path, "%s/acks", keyd.dir);
    return 0;
}

int
fault_suite_end(void **state)
{
    (void)state;
    daemon_clear(&keyd);
    fault_clear(&faults);
    return 0;
}

int
fault_suite_after(void **state)
{
    (void)state;
    for (int r = 0; r < FAULT_ROLES; r++) {
        fault_disarm(&faults, (enum fault_role)r);
        atomic_store(&faults.of[r]->wall_shift_ms, 0);
    }
    if (keyd.pid != 0) {
        printf("left for inspection: %s\n", keyd.dir);
        daemon_kill(&keyd);
    }
    return 0;
}

void
fault_suite_run(int timeout_ms)
{
    if (keyd.pid == 0)
        assert_true(daemon_launch(&keyd));
    if (!daemon_wait(&keyd, timeout_ms))
        fail_msg("the daemon does not come back, see %s", keyd.log);
}

void
fault_suite_judge(const char *acks)
{
    assert_int_equal(daemon_stop(&keyd), 0);
    if (fault_check(&keyd, acks, audit_key) != 0)
        fail_msg("see %s", keyd.dir);
}

enum keyd_status
fault_suite_issue(const char *text, unsigned n, uint32_t deadline_ms, char detail[64])
{
    struct keyd_answer *a = NULL;
    char address[64];
    struct kd_buf ssr;
    keyd_client *c = daemon_connect(&keyd, "submission");

    assert_non_null(c);
    person_request(text, n, &ssr);
    snprintf(address, sizeof address, "%s%u@example.com", text, n);
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .deadline_ms = deadline_ms,
        .in.issue_user_signet = {.address = KEYD_STR(address),
                                 .ssr = {ssr.p, ssr.n},
                                 .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
    enum keyd_status s = keyd_client_call(c, &q, &a);
    snprintf(detail, 64, "%.63s", a == NULL ? "" : a->detail);
    keyd_client_answer_free(a);
    keyd_client_free(c);
    kd_buf_free(&ssr);
    return s;
}
