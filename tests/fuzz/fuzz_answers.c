/* What vault and ledger answer, read by a gate: the first octet says to which
 * operation, the second whether a descriptor came. A gate believes neither: whatever
 * they say, it stays within its own tables, and what it takes either makes a response
 * or breaks one of the protocol's limits. */
#include "fuzz.h"

#include <rpc.h>

#include <keyd/rpc/rpc_frame.h>

#include <fcntl.h>
#include <unistd.h>

static struct answer answer;
static struct kd_quota_shared quotas;
static struct process_line processes[ANSWER_PROCESSES_MAX];

static void
respond(int fd)
{
    struct kd_frame_out out;
    struct kd_rpc_fault fault;

    kd_frame_out_init(&out, 8 * (size_t)KD_FRAME_MAX);
    kd_err err = kd_rpc_put_response(&out, &answer.r, fd, &fault);
    fuzz_require(err == KD_OK || err == KD_INVALID || err == KD_TOO_LARGE);
    if (err != KD_OK && fd >= 0)
        close(fd); /* it was not taken */
    kd_frame_out_clear(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct op_rpc *rpc = op_rpc_find((enum kd_op)data[0]);
    if (rpc == NULL || rpc->unpack == NULL)
        return 0;
    fuzz_begin(size + 2 * (size_t)KD_FRAME_MAX); /* a response's buffer is made whole */
    keyd__v1__response__init(&answer.r);
    answer.r.id = 1;
    answer.fd = data[1] == 1 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
    answer.processes = processes;
    answer.n_processes = ANSWER_PROCESSES_MAX;
    answer.quotas = &quotas;
    kd_err err = rpc->unpack(kd_slice(data + 2, size - 2), &answer);
    fuzz_require(err != KD_OK || answer.r.result_case != 0);
    if (err == KD_OK)
        respond(answer.fd);
    else if (answer.fd >= 0)
        close(answer.fd);
    fuzz_end();
    return 0;
}
