/* Signing and agreeing in a PKCS#11 token, through processes of its own, beside calls
 * of the module in this process, at equal concurrency and in turns within one run; and
 * the same of p11-kit's server, which is the peer. Each side verifies each signature,
 * as who releases it has to.
 *
 *   bench_p11 [SECONDS]      root, softhsm2, p11-kit
 *
 * One JSON object a line: what, threads, operations a second, microseconds of CPU each
 * of all processes that take part. */
#include "p11_world.h"

#include <dime/ed25519.h>
#include <dime/secp.h>
#include <dirent.h>
#include <dlfcn.h>
#include <glob.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/p11/p11.h>
#include <keyd/token/soft_store.h>

#include <p11-kit/pkcs11.h>
#include <poll.h>
#include <pthread.h>
#include <secp256k1.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS_MAX = 2, ROUNDS = 5, TEXT = 512 };

static void
must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_p11: %s\n", what);
    exit(2);
}

/* --- keys behind the hosts --- */

static struct kd_token *token;
static struct kd_key_info sign_key, agree_key;

static void
make_key(enum kd_key_role role, struct kd_key_info *out)
{
    const struct kd_key_spec spec = {.role = role,
                                     .alg = role == KD_KEY_ROLE_ENC ? KD_ALG_SECP256K1
                                                                    : KD_ALG_ED25519,
                                     .permissions = role == KD_KEY_ROLE_SOK ? 2 : 0,
                                     .domain = kd_slice_str("example.com"),
                                     .tokens = {kd_slice_str(p11_world_name(0))}};

    p11_world_generate(token, &spec, out);
}

static void
start_pool(void)
{
    must(p11_world_begin(1, THREADS_MAX), "needs root and softhsm2");
    token = p11_world_store();
    make_key(KD_KEY_ROLE_SOK, &sign_key);
    make_key(KD_KEY_ROLE_ENC, &agree_key);
    p11_world_wait(token);
}

/* --- a module in this process --- */

struct module {
    CK_FUNCTION_LIST_PTR f;
    CK_SLOT_ID slot;
    CK_OBJECT_HANDLE sign, agree, ecdsa;
    uint8_t public_key[32];
};

static struct module direct, remote;
static const char pin[] = SOFTHSM_PIN;

static void
load_module(struct module *m, const char *path)
{
    CK_C_GetFunctionList get = NULL;
    CK_SLOT_ID slots[16];
    CK_ULONG n = 16;
    CK_TOKEN_INFO info;
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL), *symbol;

    must(so != NULL && (symbol = dlsym(so, "C_GetFunctionList")) != NULL, path);
    memcpy(&get, &symbol, sizeof get);
    must(get(&m->f) == CKR_OK && m->f->C_Initialize(&args) == CKR_OK, "C_Initialize");
    must(m->f->C_GetSlotList(CK_TRUE, slots, &n) == CKR_OK, "C_GetSlotList");
    m->slot = (CK_SLOT_ID)-1;
    for (CK_ULONG i = 0; i < n; i++)
        if (m->f->C_GetTokenInfo(slots[i], &info) == CKR_OK &&
            memcmp(info.label, "direct ", 7) == 0)
            m->slot = slots[i];
    must(m->slot != (CK_SLOT_ID)-1, "no token");
}

static CK_SESSION_HANDLE
open_session(struct module *m)
{
    CK_SESSION_HANDLE s;

    must(m->f->C_OpenSession(m->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                             &s) == CKR_OK,
         "C_OpenSession");
    CK_RV rv = m->f->C_Login(s, CKU_USER, (CK_UTF8CHAR_PTR)(uintptr_t)pin, 4);
    must(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN, "C_Login");
    return s;
}

static void
generate(struct module *m, CK_SESSION_HANDLE s, CK_MECHANISM_TYPE type,
         const uint8_t *params, size_t n, bool derives, CK_OBJECT_HANDLE *prv,
         CK_OBJECT_HANDLE *pub)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_MECHANISM how = {type, NULL, 0};
    uint8_t id = (uint8_t)n;
    CK_ATTRIBUTE a[] = {{CKA_TOKEN, &yes, 1},
                        {CKA_ID, &id, 1},
                        {CKA_EC_PARAMS, (void *)(uintptr_t)params, n}};
    CK_ATTRIBUTE b[] = {{CKA_TOKEN, &yes, 1},
                        {CKA_ID, &id, 1},
                        {CKA_PRIVATE, &yes, 1},
                        {CKA_SENSITIVE, &yes, 1},
                        {CKA_SIGN, derives ? &no : &yes, 1},
                        {CKA_DERIVE, derives ? &yes : &no, 1}};

    must(m->f->C_GenerateKeyPair(s, &how, a, 3, b, 6, pub, prv) == CKR_OK,
         "C_GenerateKeyPair");
}

static void
make_direct_keys(void)
{
    static const uint8_t ed[] = {6, 3, 0x2b, 0x65, 0x70};
    static const uint8_t k1[] = {6, 5, 0x2b, 0x81, 4, 0, 0x0a};
    static const uint8_t p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    uint8_t point[64];
    CK_ATTRIBUTE a = {CKA_EC_POINT, point, sizeof point};
    CK_OBJECT_HANDLE pub, other;
    CK_SESSION_HANDLE s = open_session(&direct);

    generate(&direct, s, CKM_EC_EDWARDS_KEY_PAIR_GEN, ed, sizeof ed, false,
             &direct.sign, &pub);
    must(direct.f->C_GetAttributeValue(s, pub, &a, 1) == CKR_OK && a.ulValueLen == 34,
         "point");
    memcpy(direct.public_key, point + 2, 32);
    generate(&direct, s, CKM_EC_KEY_PAIR_GEN, k1, sizeof k1, true, &direct.agree,
             &other);
    generate(&direct, s, CKM_EC_KEY_PAIR_GEN, p256, sizeof p256, false, &direct.ecdsa,
             &other);
}

/* As the key is known over there. */
static void
find_remote_key(void)
{
    CK_OBJECT_CLASS klass = CKO_PRIVATE_KEY;
    uint8_t id = 10;
    CK_ATTRIBUTE a[] = {{CKA_CLASS, &klass, sizeof klass}, {CKA_ID, &id, 1}};
    CK_ULONG n = 0;
    CK_SESSION_HANDLE s = open_session(&remote);

    must(remote.f->C_FindObjectsInit(s, a, 2) == CKR_OK &&
             remote.f->C_FindObjects(s, &remote.ecdsa, 1, &n) == CKR_OK && n == 1 &&
             remote.f->C_FindObjectsFinal(s) == CKR_OK,
         "the key over p11-kit");
}

/* --- what is measured --- */

struct worker {
    pthread_t thread;
    void (*work)(struct worker *w);
    CK_SESSION_HANDLE direct, remote;
    uint64_t n;
    uint8_t *z;
    uint8_t point[33], whole[65];
};

static struct worker workers[THREADS_MAX];
static atomic_bool stop;
static uint8_t text[TEXT];

static void
sign_direct(struct worker *w)
{
    CK_MECHANISM m = {CKM_EDDSA, NULL, 0};
    uint8_t sig[64];
    CK_ULONG n = sizeof sig;

    must(direct.f->C_SignInit(w->direct, &m, direct.sign) == CKR_OK &&
             direct.f->C_Sign(w->direct, text, sizeof text, sig, &n) == CKR_OK,
         "C_Sign");
    must(dime_ed25519_verify_trusted_key(direct.public_key, kd_slice(text, sizeof text),
                                         sig) == KD_OK,
         "verify");
}

static void
sign_hosts(struct worker *w)
{
    struct kd_token_sig sig;

    (void)w;
    must(kd_token_sign(token, &sign_key.id, KD_SIGN_MESSAGE,
                       kd_slice(text, sizeof text), &sig) == KD_OK,
         "kd_token_sign");
}

static void
agree_direct(struct worker *w)
{
    CK_OBJECT_CLASS klass = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG size = 32;
    CK_ECDH1_DERIVE_PARAMS p = {
        .kdf = CKD_NULL, .ulPublicDataLen = 65, .pPublicData = w->whole};
    CK_MECHANISM m = {CKM_ECDH1_DERIVE, &p, sizeof p};
    CK_ATTRIBUTE a[] = {{CKA_CLASS, &klass, sizeof klass},
                        {CKA_KEY_TYPE, &type, sizeof type},
                        {CKA_TOKEN, &no, 1},
                        {CKA_SENSITIVE, &no, 1},
                        {CKA_EXTRACTABLE, &yes, 1},
                        {CKA_VALUE_LEN, &size, sizeof size}};
    CK_ATTRIBUTE value = {CKA_VALUE, w->z, 32};
    CK_OBJECT_HANDLE h;

    must(direct.f->C_DeriveKey(w->direct, &m, direct.agree, a, 6, &h) == CKR_OK &&
             direct.f->C_GetAttributeValue(w->direct, h, &value, 1) == CKR_OK &&
             direct.f->C_DestroyObject(w->direct, h) == CKR_OK,
         "C_DeriveKey");
}

static void
agree_hosts(struct worker *w)
{
    must(kd_token_ecdh(token, &agree_key.id, kd_slice(w->point, 33), w->z) == KD_OK,
         "kd_token_ecdh");
}

static void
ecdsa(struct module *m, CK_SESSION_HANDLE s)
{
    CK_MECHANISM how = {CKM_ECDSA, NULL, 0};
    uint8_t sig[128];
    CK_ULONG n = sizeof sig;

    must(m->f->C_SignInit(s, &how, m->ecdsa) == CKR_OK &&
             m->f->C_Sign(s, text, 32, sig, &n) == CKR_OK,
         "ECDSA");
}

static void
ecdsa_direct(struct worker *w)
{
    ecdsa(&direct, w->direct);
}

static void
ecdsa_remote(struct worker *w)
{
    ecdsa(&remote, w->remote);
}

static void *
run_worker(void *arg)
{
    struct worker *w = arg;

    for (w->n = 0; !stop; w->n++)
        w->work(w);
    return NULL;
}

static void
widen(const uint8_t point[33], uint8_t out[65])
{
    secp256k1_pubkey key;
    size_t n = 65;

    must(secp256k1_ec_pubkey_parse(secp256k1_context_static, &key, point, 33) == 1,
         "point");
    secp256k1_ec_pubkey_serialize(secp256k1_context_static, out, &n, &key,
                                  SECP256K1_EC_UNCOMPRESSED);
}

/* --- processor time --- */

static pid_t server;

static double
cpu_of(pid_t pid, pid_t *parent)
{
    char path[64], line[1024];
    unsigned long user = 0, system = 0;
    int ppid = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fgets(line, sizeof line, f) != NULL && strrchr(line, ')') != NULL)
        sscanf(strrchr(line, ')') + 2,
               "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &ppid, &user,
               &system);
    fclose(f);
    *parent = ppid;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* p11-kit's server has a process for each client. */
static double
cpu_of_server(void)
{
    DIR *dir = opendir("/proc");
    const struct dirent *e;
    pid_t parent;
    double sum = 0;

    while (dir != NULL && (e = readdir(dir)) != NULL) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        double cpu = pid > 0 ? cpu_of(pid, &parent) : 0;
        if (pid > 0 && (pid == server || parent == server))
            sum += cpu;
    }
    if (dir != NULL)
        closedir(dir);
    return sum;
}

static double
cpu_now(void)
{
    struct rusage u;
    pid_t parent, hosts[P11_HOSTS_A_TOKEN];
    size_t n = p11_world_pids(hosts, P11_HOSTS_A_TOKEN);

    getrusage(RUSAGE_SELF, &u);
    double s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    for (size_t i = 0; i < n; i++)
        s += cpu_of(hosts[i], &parent);
    return s + cpu_of_server();
}

struct side {
    const char *what;
    void (*work)(struct worker *w);
    double n, seconds, cpu;
};

static void
run_side(struct side *s, unsigned threads, double seconds)
{
    double cpu = cpu_now();
    int64_t began = kd_clock_ns();

    stop = false;
    for (unsigned i = 0; i < threads; i++) {
        workers[i].work = s->work;
        must(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]) == 0,
             "thread");
    }
    poll(NULL, 0, (int)(seconds * 1000));
    stop = true;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        s->n += (double)workers[i].n;
    }
    s->seconds += (double)(kd_clock_ns() - began) / 1e9;
    s->cpu += cpu_now() - cpu;
}

static void
measure(struct side *sides, size_t n, unsigned threads, double seconds)
{
    for (unsigned r = 0; r < ROUNDS; r++)
        for (size_t i = 0; i < n; i++)
            run_side(&sides[r % 2 == 0 ? i : n - 1 - i], threads, seconds / ROUNDS);
    for (size_t i = 0; i < n; i++)
        printf(
            "{\"what\": \"%s\", \"threads\": %u, \"rate\": %.0f, \"cpu_us\": %.1f}\n",
            sides[i].what, threads, sides[i].n / sides[i].seconds,
            sides[i].cpu * 1e6 / sides[i].n);
}

static void
start_server(const struct softhsm *s)
{
    char path[200], address[260];

    snprintf(path, sizeof path, "%s/p11.sock", s->folder);
    snprintf(address, sizeof address, "unix:path=%s", path);
    server = fork();
    if (server == 0) {
        setenv("XDG_RUNTIME_DIR", s->folder, 1);
        if (freopen("/dev/null", "w", stdout) == NULL)
            _exit(126);
        execlp("p11-kit", "p11-kit", "server", "-f", "-n", path, "--provider",
               softhsm_module(), "pkcs11:", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 200 && access(path, R_OK) != 0; i++)
        poll(NULL, 0, 20);
    must(access(path, R_OK) == 0, "p11-kit server (is p11-kit installed?)");
    setenv("P11_KIT_SERVER_ADDRESS", address, 1);
}

int
main(int argc, char **argv)
{
    char top[] = "/tmp/keyd-bench-p11-XXXXXX";
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    struct side sign[] = {{"sign direct", sign_direct, 0, 0, 0},
                          {"sign hosts", sign_hosts, 0, 0, 0}};
    struct side agree[] = {{"derive direct", agree_direct, 0, 0, 0},
                           {"derive hosts", agree_hosts, 0, 0, 0}};
    struct side peer[] = {{"ecdsa direct", ecdsa_direct, 0, 0, 0},
                          {"ecdsa p11-kit", ecdsa_remote, 0, 0, 0}};
    struct softhsm other;

    if (geteuid() != 0 || softhsm_module() == NULL) {
        puts("skipped: needs root and softhsm2");
        return 77;
    }
    must(sodium_init() >= 0 && kd_secret_setup(1 << 18) == KD_OK, "secret memory");
    must(mkdtemp(top) != NULL && softhsm_script("chmod 711 $1", top, ""), top);
    memset(text, 'm', sizeof text);
    memcpy(text, "\x02\x00\x00\x21", 4); /* a message's beginning */
    text[37] = 4;
    must(softhsm_make(&other, top, "direct", 0), "softhsm2-util");
    start_pool();
    setenv("SOFTHSM2_CONF", other.conf, 1); /* the hosts have been told theirs */
    start_server(&other);
    load_module(&direct, softhsm_module());
    make_direct_keys();
    glob_t client;
    must(glob("/usr/lib/*/pkcs11/p11-kit-client.so", 0, NULL, &client) == 0,
         "p11-kit-client.so (package p11-kit-modules)");
    load_module(&remote, client.gl_pathv[0]);
    globfree(&client);
    find_remote_key();
    for (unsigned i = 0; i < THREADS_MAX; i++) {
        uint8_t *secret = kd_secret_new(32);
        workers[i].z = kd_secret_new(32);
        dime_secp_random(secret);
        must(dime_secp_public(secret, workers[i].point) == KD_OK, "point");
        kd_secret_free(secret, 32);
        workers[i].direct = open_session(&direct);
        workers[i].remote = open_session(&remote);
        widen(workers[i].point, workers[i].whole);
    }
    for (unsigned threads = 1; threads <= THREADS_MAX; threads++) {
        measure(sign, 2, threads, seconds);
        measure(agree, 2, threads, seconds);
        measure(peer, 2, threads, seconds);
        for (size_t i = 0; i < 2; i++)
            sign[i].n = sign[i].seconds = sign[i].cpu = agree[i].n = agree[i].seconds =
                agree[i].cpu = peer[i].n = peer[i].seconds = peer[i].cpu = 0;
    }
    p11_world_end();
    kill(server, SIGTERM);
    must(softhsm_script("rm -rf $1", top, ""), "rm");
    return 0;
}
