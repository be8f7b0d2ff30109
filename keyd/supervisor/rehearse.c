#include "rehearse.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The other end is the child's alone: readable when the child is gone. */
static bool
is_gone_within(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;

    do
        n = poll(&p, 1, ms);
    while (n < 0 && errno == EINTR); /* signals are blocked: not in a loop */
    return n > 0;
}

static int
status_of(pid_t pid)
{
    int status = 0;
    pid_t found;

    do
        found = waitpid(pid, &status, 0);
    while (found < 0 && errno == EINTR);
    return found == pid ? status : -1;
}

kd_err
rehearse(void (*act)(void *arg), void *arg, int ms)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0)
        return KD_UNAVAILABLE;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        close(fds[0]);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
            _exit(1);
        act(arg);
        _exit(0);
    }
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return KD_UNAVAILABLE;
    }
    bool is_gone = is_gone_within(fds[0], ms);
    close(fds[0]);
    if (!is_gone)
        kill(pid, SIGKILL);
    int status = status_of(pid);
    if (!is_gone)
        return KD_TIMEOUT;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? KD_OK : KD_FAILED;
}
