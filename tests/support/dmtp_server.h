/* A DMTP server that does what a test says: a thread on a port of an address of its
 * own, one connection after another. What cannot be made ends the test program. */
#ifndef KEYD_TESTS_DMTP_SERVER_H
#define KEYD_TESTS_DMTP_SERVER_H

#include "certs.h"

#include <keyd/base/buf.h>

/* When trouble begins, and which. */
enum dmtp_stage {
    DMTP_AT_NEVER,
    DMTP_AT_BANNER,
    DMTP_AT_STARTTLS, /* instead of the reply to it */
    DMTP_AT_TLS,      /* instead of the handshake */
    DMTP_AT_GREETING, /* behind STARTTLS and the handshake */
    DMTP_AT_COMMAND,
    DMTP_AT_REST /* before any command is read */
};
enum dmtp_trouble {
    DMTP_HANGS_UP, /* without a word */
    DMTP_SAYS_421,
    DMTP_IS_SILENT,
    DMTP_IS_SLOW,      /* an octet every 50 ms, of a line without end */
    DMTP_ENDLESS_LINE, /* as fast as it can */
    DMTP_ENDLESS_LINES,
    DMTP_CUT_IN_HALF, /* in the middle of a line */
    DMTP_ENDS_TLS     /* cleanly, and hangs up */
};

/* What is 0 or NULL is as it should be. */
struct dmtp_server_conf {
    const char *address; /* "127.0.0.1" */
    uint16_t port;       /* any */
    bool is_dual;        /* STARTTLS instead of TLS from the first octet */
    const struct identity *id, *issuer; /* issuer: sent along; not a root */
    int min_version, max_version;
    const char *ciphers; /* of TLS 1.2 */
    struct kd_slice staple;
    const char *banner, *starttls, *greeting; /* "": nothing is said */
    bool is_mute_to_starttls;                 /* goes into the handshake at once */
    /* Writes the whole reply, line ends included. NULL: 250 to everything. */
    void (*answer)(void *arg, const char *command, struct kd_buf *reply);
    void *arg;
    enum dmtp_stage at;
    enum dmtp_trouble trouble;
};

/* A reply of objects in armour, each line with the code, and the last line. 270 is of
 * organizational signets, others of users'. */
void dmtp_say_objects(struct kd_buf *reply, unsigned code, const struct kd_slice *list,
                      size_t n);

struct dmtp_server_seen {
    unsigned connections, handshakes;
    bool ended_tls;  /* the last connection, by close_notify */
    bool said_quit;  /* on the last one */
    char sni[256];   /* of the last one */
    char text[4096]; /* all lines of all connections, each ended by LF */
    bool has_crlf;   /* a line ended so */
};

struct dmtp_server;
struct dmtp_server *dmtp_server_start(const struct dmtp_server_conf *conf);
uint16_t dmtp_server_port(const struct dmtp_server *s);
/* Stops it, when the connection it is in has ended or is cut, and says what it saw. */
void dmtp_server_stop(struct dmtp_server *s, struct dmtp_server_seen *seen);

#endif
