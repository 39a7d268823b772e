/* SPDX-License-Identifier: BSD-3-Clause
 *
 * job.c: one piece of file work in a thread of its own.
 *
 * The thread calls no MPI. Messages of failures belong to a thread, so a job carries its own over
 * to the thread that ends it.
 */
#include <clvi_io.h>
#include <signal.h>

static void *run(void *of)
{
    clvi_job *job = of;
    job->status = job->work(job->context);
    snprintf(job->message, sizeof job->message, "%s", clv_last_error());
    __atomic_store_n(&job->done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* The program's signals are for its own threads. Where there can be no thread, the caller works. */
void clvi_job_start(clvi_job *job, clv_status (*work)(void *context), void *context)
{
    sigset_t all, before;
    *job = (clvi_job){.work = work, .context = context, .active = true};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    job->threaded = pthread_create(&job->thread, NULL, run, job) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!job->threaded) run(job);
}

bool clvi_job_done(const clvi_job *job)
{
    return __atomic_load_n(&job->done, __ATOMIC_ACQUIRE);
}

void clvi_job_drop(clvi_job *job)
{
    if (job->active && job->threaded) pthread_join(job->thread, NULL);
    job->active = false;
}

clv_status clvi_job_end(clvi_job *job)
{
    if (!job->active) return CLV_OK;
    clvi_job_drop(job);
    return job->status == CLV_OK ? CLV_OK : clvi_fail(job->status, "%s", job->message);
}
