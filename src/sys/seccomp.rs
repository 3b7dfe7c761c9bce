//! A filter over the job's system calls.
//!
//! Invariant: only the kernel keyring and limits of other processes are refused; every other call,
//! and every architecture that this build doesn't know, is left as it is. A filter is made before
//! the fork and installed after it without an allocation.
//!
//! Why keyrings: an entry of a user's keyring (keyrings(7)) outlives the process that made it, so
//! that a job could leave a secret in the kernel's memory where nothing here can wipe it.
//!
//! Why limits: prlimit(2) sets those of every process of the same account, and neither a PID
//! namespace (whose first process is the runner), nor Landlock, nor `PR_SET_DUMPABLE` is asked. A
//! job could leave its runner without descriptors, so that nothing is wiped, or end it by a limit
//! of processor time. Its own limits a process names by 0, as setrlimit(2) does.

#![expect(unsafe_code, reason = "seccomp(2), which nix doesn't have")]

use nix::errno::Errno;
use nix::libc;

/// `AUDIT_ARCH_…` of `linux/audit.h`: the ELF machine, with flags for 64 bit and little-endian.
const LITTLE_ENDIAN: u32 = 0x4000_0000;
const LITTLE_ENDIAN_64: u32 = 0xc000_0000;

/// Calls of the x32 ABI say x86_64 and have this bit: `linux/unistd.h`.
#[cfg(any(target_arch = "x86_64", test))]
const X32: u32 = 0x4000_0000;

/// For each architecture word that a process of this machine can have: the numbers of `add_key`,
/// `request_key` and `keyctl`, and those of `prlimit64`.
type Refused = &'static [(u32, &'static [u32], &'static [u32])];

#[cfg(any(target_arch = "x86_64", test))]
const X86: Refused = &[
    (
        LITTLE_ENDIAN_64 | libc::EM_X86_64 as u32,
        &[248, 249, 250, X32 | 248, X32 | 249, X32 | 250],
        &[302, X32 | 302],
    ),
    (LITTLE_ENDIAN | libc::EM_386 as u32, &[286, 287, 288], &[340]),
];

#[cfg(any(target_arch = "aarch64", test))]
const ARM: Refused = &[
    (LITTLE_ENDIAN_64 | libc::EM_AARCH64 as u32, &[217, 218, 219], &[261]),
    (LITTLE_ENDIAN | libc::EM_ARM as u32, &[309, 310, 311], &[369]),
];

#[cfg(target_arch = "x86_64")]
const HERE: Refused = X86;
#[cfg(target_arch = "aarch64")]
const HERE: Refused = ARM;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const HERE: Refused = &[];

/// Offsets in `struct seccomp_data`: seccomp(2).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The first argument of `prlimit64`: an `int`, so its lower half, which comes first.
const PROCESS: u32 = 16;
/// The halves of the third: the new limits, or null.
const NEW_LIMITS: [u32; 2] = [32, 36];

/// A program of classic BPF that the kernel runs at each system call.
#[derive(Clone)]
pub struct Filter(Vec<libc::sock_filter>);

impl Filter {
    /// Refuses `add_key`, `request_key` and `keyctl`, and `prlimit64` where it changes a process
    /// that is named by a number, with EPERM, and allows the rest.
    ///
    /// On x86_64 in its native, x32 and i386 forms, on aarch64 in its native and 32-bit forms; on
    /// other machines nothing is refused, for their numbers are not known here.
    pub fn for_jobs() -> Self {
        Self(program(HERE))
    }

    /// Installs the filter in the calling thread, for good; what it forks and executes inherits
    /// it: seccomp(2).
    ///
    /// Async-signal-safe, for use between fork and exec. Needs `no_new_privs` (or CAP_SYS_ADMIN),
    /// otherwise EACCES; EINVAL or ENOSYS when the kernel has no seccomp filters.
    pub fn install(&self) -> Result<(), Errno> {
        let length = libc::c_ushort::try_from(self.0.len()).map_err(|_| Errno::EINVAL)?;
        // The kernel only reads the program, whatever the type says.
        let program = libc::sock_fprog { len: length, filter: self.0.as_ptr().cast_mut() };
        // Before Linux 5.16 a filter also slows the process down, as if its memory had to be kept
        // from code inside it; the flag (Linux 4.17) leaves that as it is.
        let faster = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        match set(&program, faster) {
            Err(Errno::EINVAL) => set(&program, 0),
            done => done,
        }
    }
}

fn set(program: &libc::sock_fprog, flags: libc::c_ulong) -> Result<(), Errno> {
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program and the instructions that it points to are alive during the call, and
    // the kernel copies them.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, std::ptr::from_ref(program)) };
    Errno::result(result).map(drop)
}

/// Compares the architecture, then the number; each comparison skips what it makes needless.
fn program(refused: Refused) -> Vec<libc::sock_filter> {
    let mut program = vec![load(ARCHITECTURE)];
    for (architecture, keyrings, limits) in refused {
        let allow = result(libc::SECCOMP_RET_ALLOW);
        let refuse = result(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
        let [lower, upper] = NEW_LIMITS;
        let end = [
            allow,
            // Here `prlimit64` goes on.
            load(PROCESS),
            if_equal(0, 5),
            load(lower),
            unless_equal(0, 2),
            load(upper),
            if_equal(0, 1),
            // And here the keyrings.
            refuse,
            allow,
        ];
        // A list is a few numbers long.
        let count = u8::try_from(keyrings.len() + limits.len()).unwrap_or(u8::MAX - 10);
        program.push(unless_equal(*architecture, count + 10));
        program.push(load(NUMBER));
        let skips = keyrings.iter().map(|number| (number, 7));
        let skips = skips.chain(limits.iter().map(|number| (number, 1)));
        for ((number, skip), left) in skips.zip((0..count).rev()) {
            program.push(if_equal(*number, left + skip));
        }
        program.extend(end);
    }
    program.push(result(libc::SECCOMP_RET_ALLOW));
    program
}

fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

fn if_equal(value: u32, skip: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, skip, 0)
}

fn unless_equal(value: u32, skip: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 0, skip)
}

fn result(value: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, value, 0, 0)
}

/// The codes are below 256.
fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

    /// What the kernel would do, with the four instructions that are used; `arguments` are the
    /// first and the third.
    fn run(program: &[libc::sock_filter], call: (u32, u32), arguments: (u32, u64)) -> u32 {
        let (architecture, number) = call;
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            match (u32::from(step.code), step.k) {
                (0x20, 0) => accumulator = number,
                (0x20, 4) => accumulator = architecture,
                (0x20, 16) => accumulator = arguments.0,
                (0x20, 32) => accumulator = arguments.1 as u32,
                (0x20, 36) => accumulator = (arguments.1 >> 32) as u32,
                (0x15, k) => at += usize::from(if accumulator == k { step.jt } else { step.jf }),
                (0x06, k) => return k,
                (code, k) => panic!("instruction {code:#x} {k}"),
            }
        }
    }

    /// Machines; architecture words and numbers as strace(1) and ausyscall(8) have them.
    type Known = &'static [(u32, std::ops::RangeInclusive<u32>, u32)];
    const MACHINES: [(&str, Refused, Known); 3] = [
        (
            "x86",
            X86,
            &[
                (0xc000_003e, 248..=250, 302),
                (0xc000_003e, 0x4000_00f8..=0x4000_00fa, 0x4000_012e),
                (0x4000_0003, 286..=288, 340),
            ],
        ),
        ("arm", ARM, &[(0xc000_00b7, 217..=219, 261), (0x4000_0028, 309..=311, 369)]),
        ("other", &[], &[]),
    ];

    #[test]
    fn exactly_the_keyring_and_the_limits_of_others_are_refused() {
        for (machine, refused, known) in MACHINES {
            let program = program(refused);
            let words = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0xc000_00f3, 0];
            for word in words {
                for number in (0..600).chain(0x4000_0000..0x4000_0258) {
                    let known = || known.iter().filter(|(known, ..)| *known == word);
                    let keyring = known().any(|(_, range, _)| range.contains(&number));
                    let limits = known().any(|(.., limits)| *limits == number);
                    for (arguments, other) in [
                        ((0, 0), false),
                        ((0, 0x7fff_0000_1000), false),
                        ((7, 0), false),
                        ((7, 0x1000), true),
                        ((7, 0x7fff_0000_0000), true),
                        ((u32::MAX, 0x1000), true),
                    ] {
                        let hit = keyring || limits && other;
                        let expected = if hit { REFUSE } else { ALLOW };
                        let got = run(&program, (word, number), arguments);
                        assert_eq!(
                            got, expected,
                            "{machine}: {word:#x} {number:#x} {arguments:x?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_numbers_are_those_of_this_build() {
        for number in [libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl] {
            let number = u32::try_from(number).unwrap();
            assert!(HERE.is_empty() || HERE[0].1.contains(&number), "{number}");
        }
        let prlimit = u32::try_from(libc::SYS_prlimit64).unwrap();
        assert!(HERE.is_empty() || HERE[0].2.contains(&prlimit));
    }

    #[test]
    fn the_kernel_refuses_keyrings_and_nothing_else() {
        // A thread of its own: a filter holds for the thread that installs it.
        std::thread::spawn(|| {
            let add = || {
                // SAFETY: the strings are constants; the last argument is the process keyring,
                // which goes with the test.
                let result = unsafe {
                    libc::syscall(
                        libc::SYS_add_key,
                        c"user".as_ptr(),
                        c"qgis-secrets".as_ptr(),
                        c"x".as_ptr(),
                        1_usize,
                        libc::KEY_SPEC_THREAD_KEYRING,
                    )
                };
                Errno::result(result)
            };
            if add() == Err(Errno::EPERM) {
                println!("skipped: keyrings are refused here already, as by Docker's profile");
                return;
            }
            nix::sys::prctl::set_no_new_privs().unwrap();
            Filter::for_jobs().install().unwrap();
            assert_eq!(add(), Err(Errno::EPERM));
            // SAFETY: numbers only.
            let keyctl = unsafe { libc::syscall(libc::SYS_keyctl, 0, -1, 0) };
            assert_eq!(Errno::result(keyctl), Err(Errno::EPERM));
            // SAFETY: no arguments that are pointers; past the C library, which could remember.
            assert!(unsafe { libc::syscall(libc::SYS_getpid) } > 0);
            assert!(std::fs::read("/proc/self/stat").is_ok());
        })
        .join()
        .unwrap();
    }
}
