/* What vault and ledger answer, as a gate makes a response of it: the tables it fills
 * are of a fixed size, and what it fills them from is another process's word. */
#include "test.h"

#include <rpc.h>

#include <keyd/job/state.h>
#include <keyd/rpc/rpc_frame.h>

#include <stdio.h>
#include <stdlib.h>

static struct answer answer;
static struct kd_quota_shared quotas;

static int
make_answer(void **state)
{
    (void)state;
    memset(&answer, 0, sizeof answer);
    keyd__v1__response__init(&answer.r);
    answer.r.id = 1;
    answer.fd = -1;
    answer.quotas = &quotas;
    return 0;
}

static const Keyd__V1__Counter *
find(const char *name)
{
    for (size_t i = 0; i < answer.u.status.n_counters; i++)
        if (kd_slice_eq(kd_rpc_slice(answer.counter_list[i]->name), kd_slice_str(name)))
            return answer.counter_list[i];
    return NULL;
}

static void
put_over(struct kd_buf *list, unsigned i)
{
    char name[KD_POLICY_NAME_MAX + 1];
    struct kd_buf one;
    int n = snprintf(name, sizeof name, "principal-with-a-long-name-%u", i);
    const struct kd_over_line m = {.klass = KD_CLASS_MTA,
                                   .mark = 1 + (uint64_t)i,
                                   .n = 2,
                                   .name = kd_slice(name, (size_t)n)};

    kd_buf_init(&one, 256);
    kd_over_line_put(&one, &m);
    kd_list_put(list, kd_buf_slice(&one));
    kd_buf_join(list, &one);
    kd_buf_free(&one);
}

static void
all_principals_over_their_quotas_leave_room_for_the_other_counters(void **state)
{
    struct kd_status_done m = {.state = KD_SERVICE_OPERATIONAL,
                               .over_quota = 1000,
                               .resets = 7,
                               .stopped = 9,
                               .peer_malformed = 11};
    struct kd_buf list, body;
    struct kd_frame_out out;
    struct kd_rpc_fault fault = {0};

    (void)state;
    kd_buf_init(&list, 64 * 1024);
    kd_buf_init(&body, KD_CHAN_BODY_MAX);
    for (unsigned i = 0; i < KD_POLICY_ROWS_MAX; i++)
        put_over(&list, i);
    m.quotas = kd_buf_slice(&list);
    kd_status_done_put(&body, &m);
    assert_int_equal(list.err, KD_OK);
    assert_int_equal(body.err, KD_OK);
    assert_int_equal(op_rpc_status.unpack(kd_buf_slice(&body), &answer), KD_OK);
    assert_true(answer.u.status.n_counters <= ANSWER_COUNTERS_MAX);
    assert_non_null(find("over-quota:principal-with-a-long-name-0"));
    assert_int_equal(find("over-quota")->value, 1000);
    assert_int_equal(find("resets-pending")->value, 7);
    assert_int_equal(find("principals-stopped")->value, 9);
    assert_int_equal(find("peers-malformed")->value, 11);
    kd_frame_out_init(&out, 4 * (size_t)KD_FRAME_MAX);
    assert_int_equal(kd_rpc_put_response(&out, &answer.r, -1, &fault), KD_OK);
    kd_frame_out_clear(&out);
    kd_buf_free(&list);
    kd_buf_free(&body);
}

/* Its line stays in the table, without a pid, until it is started again. */
static void
a_process_that_is_away_is_left_out_of_status(void **state)
{
    static const struct process_line processes[] = {
        {{.role = 3, .pid = 77, .sandbox = 1}, true},
        {{.role = 4, .pid = 0}, true},
        {{.role = 0}, false},
    };
    const struct kd_status_done m = {.state = KD_SERVICE_DEGRADED};
    struct kd_buf body;
    struct kd_frame_out out;
    struct kd_rpc_fault fault = {0};

    (void)state;
    answer.processes = processes;
    answer.n_processes = sizeof processes / sizeof processes[0];
    kd_buf_init(&body, KD_CHAN_BODY_MAX);
    kd_status_done_put(&body, &m);
    assert_int_equal(op_rpc_status.unpack(kd_buf_slice(&body), &answer), KD_OK);
    assert_int_equal(answer.u.status.n_processes, 1);
    assert_int_equal(answer.process_list[0]->pid, 77);
    kd_frame_out_init(&out, 4 * (size_t)KD_FRAME_MAX);
    assert_int_equal(kd_rpc_put_response(&out, &answer.r, -1, &fault), KD_OK);
    kd_frame_out_clear(&out);
    kd_buf_free(&body);
}

static void
every_operation_has_both_halves(void **state)
{
    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        const struct op_rpc *rpc = op_rpc_find((enum kd_op)op);
        if (rpc == NULL)
            continue; /* the gate's own */
        assert_int_equal(rpc->op, op);
        assert_non_null(rpc->pack);
        assert_non_null(rpc->unpack);
    }
}

/* Nothing, one octet, and ever more of them: never more than malformed. */
static void
answers_that_say_nothing_are_malformed(void **state)
{
    static const uint8_t octets[64];

    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        const struct op_rpc *rpc = op_rpc_find((enum kd_op)op);
        for (size_t n = 0; rpc != NULL && n <= sizeof octets; n++) {
            make_answer(NULL);
            kd_err err = rpc->unpack(kd_slice(octets, n), &answer);
            assert_true(err == KD_OK || err == KD_MALFORMED);
            if (err == KD_OK)
                assert_int_not_equal(answer.r.result_case, 0);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(
            all_principals_over_their_quotas_leave_room_for_the_other_counters,
            make_answer),
        cmocka_unit_test_setup(a_process_that_is_away_is_left_out_of_status,
                               make_answer),
        cmocka_unit_test(every_operation_has_both_halves),
        cmocka_unit_test(answers_that_say_nothing_are_malformed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
